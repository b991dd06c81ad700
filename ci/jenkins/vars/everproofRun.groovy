// A step of a pipeline with a credential for its stage alone:
//
//     everproofRun stage: 'build', run: 'make'
//
// The job is proven by an id token of the plugin OpenID Connect Provider, kept as a credential of the kind "OpenID Connect
// id token as file", with the server's address as its audience. `server` and `ca` are the globals EVERPROOF_SERVER and
// EVERPROOF_CA unless they are given here.

import groovy.transform.Field

@Field static final List STAGES = ['build', 'test', 'publish', 'deploy']
@Field static final List KNOWN = ['stage', 'run', 'server', 'ca', 'env', 'on', 'lifetime', 'grace', 'timeout', 'credentialsId']

def call(Map given) {
    def unknown = given.keySet() - KNOWN
    if (unknown) {
        error("everproofRun: there is no ${unknown.join(', ')}")
    }
    if (!STAGES.contains(given.stage)) {
        error("everproofRun: stage is one of ${STAGES.join(', ')}")
    }
    if (!given.run) {
        error('everproofRun: say what to run')
    }
    def names = given.env ?: []
    def words = [
        "STEP_STAGE=${given.stage}",
        "STEP_RUN=${given.run}",
        "STEP_ENV=${names.join('\n')}",
        "STEP_ON=${given.on ?: ''}",
        "STEP_LIFETIME=${given.lifetime ?: ''}",
        "STEP_GRACE=${given.grace ?: ''}",
        "STEP_TIMEOUT=${given.timeout ?: ''}",
        "EVERPROOF_SERVER=${given.server ?: env.EVERPROOF_SERVER ?: ''}",
        "EVERPROOF_CA=${given.ca ?: env.EVERPROOF_CA ?: ''}",
    ]
    def id = given.credentialsId ?: 'everproof-id-token'
    def token = file(credentialsId: id, variable: 'EVERPROOF_ID_TOKEN_FILE')
    withCredentials([token]) {
        withEnv(words) {
            // In single quotes: what was given reaches the shell as variables, and never as text of its script.
            sh label: 'everproof run', script: '''
                set -eu
                set -f
                set -- --stage "$STEP_STAGE"
                [ -z "$STEP_ON" ] || set -- "$@" --on "$STEP_ON"
                [ -z "$STEP_LIFETIME" ] || set -- "$@" --lifetime "$STEP_LIFETIME"
                [ -z "$STEP_GRACE" ] || set -- "$@" --grace "$STEP_GRACE"
                [ -z "$STEP_TIMEOUT" ] || set -- "$@" --timeout "$STEP_TIMEOUT"
                newline='
'
                IFS=$newline
                for name in $STEP_ENV; do
                    set -- "$@" "--env=$name"
                done
                unset IFS
                exec everproof run "$@" -- sh -eu -c "$STEP_RUN"
            '''
        }
    }
}
