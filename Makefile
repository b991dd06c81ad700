.PHONY: help setup demo test check bench denials docs lock
.DEFAULT_GOAL := help

help: ## list these commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

setup: ## install what the others need: Debian's packages (as root) and .venv
	@scripts/setup

demo: setup ## run the story on real input; KEEP=1 leaves it running
	@.venv/bin/python -m demo $(if $(KEEP),--keep)

test: setup ## the whole suite, on SQLite and on PostgreSQL
	@.venv/bin/pytest -n auto --dist loadgroup $(ARGS)

check: setup ## lint, format, types, import rules
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports --no-cache

bench: setup ## measure; ONLY=name prints `name value unit` as its last line
	@.venv/bin/python -m benchmarks $(if $(ONLY),--only $(ONLY))

denials: setup ## play the demonstration and write docs/denials.md from what it was refused
	@.venv/bin/python -m demo --denials

docs: setup ## write the generated pages of docs/ anew
	@.venv/bin/python -m scripts.docs

lock: setup ## resolve the lock files anew (needs uv)
	uv pip compile -q --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate pyproject.toml -o requirements.lock
	uv pip compile -q --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --extra dev pyproject.toml -o requirements-dev.lock
