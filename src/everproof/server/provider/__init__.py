"""The provider's doors: what clients, their users' browsers and devices ask."""
