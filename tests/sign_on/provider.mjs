// The certified OpenID provider (npm oidc-provider), as an organisation would run it, for our sign-on to be tried against.
// Reads its configuration as JSON from standard input; ends when that is closed. Prints "ready" when it answers.
import https from 'node:https';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import Provider from '../npm/node_modules/oidc-provider/lib/index.js';

const lines = createInterface({ input: process.stdin });
const config = JSON.parse((await once(lines, 'line'))[0]);
lines.on('close', () => process.exit(0));

console.warn = console.info = () => {}; // it warns of everything that is not production

const accounts = new Map();

const escaped = (text) => String(text).replace(/[&<>"']/g, (one) => `&#${one.charCodeAt(0)};`);

const page = (title, body) => `<!doctype html><html lang="en"><meta charset="utf-8"><title>${escaped(title)}</title>
<h1>${escaped(title)}</h1>${body}</html>`;

function make({ issuer, pushed }) {
  const provider = new Provider(issuer, {
    jwks: { keys: config.keys },
    cookies: { keys: [config.secret] },
    scopes: ['openid', 'groups'],
    acrValues: ['urn:example:password', 'urn:example:mfa'],
    claims: {
      openid: ['sub', 'acr', 'amr', 'auth_time', ...config.claims],
      profile: ['name', 'preferred_username'],
      email: ['email', 'email_verified'],
      groups: ['groups'],
    },
    conformIdTokenClaims: false,
    pkce: { methods: ['S256', 'plain'], required: () => false },
    features: {
      devInteractions: { enabled: false },
      registration: { enabled: true },
      registrationManagement: { enabled: false },
      pushedAuthorizationRequests: { enabled: pushed },
      claimsParameter: { enabled: true },
      backchannelLogout: { enabled: true },
      rpInitiatedLogout: {
        enabled: true,
        async logoutSource(ctx, form) {
          ctx.body = page('Sign out?', `${form}<button name="logout" value="yes" form="op.logoutForm">Sign out</button>`);
        },
        async postLogoutSuccessSource(ctx) { ctx.body = page('Signed out', ''); },
      },
    },
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    async findAccount(_ctx, id) {
      const account = accounts.get(id);
      return account && { accountId: id, claims: async () => ({ ...account.claims, sub: account.claims.sub ?? id }) };
    },
    async loadExistingGrant(ctx) { // whoever runs the provider has agreed for everybody
      const grant = new ctx.oidc.provider.Grant({
        clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId,
      });
      grant.addOIDCScope('openid profile email groups');
      await grant.save();
      return grant;
    },
    async renderError(ctx, out) { ctx.body = page('Refused', `<pre>${escaped(JSON.stringify(out))}</pre>`); },
    ttl: { Session: 3600, Interaction: 600, Grant: 3600, AccessToken: 600, IdToken: 600 },
  });
  provider.on('server_error', (_ctx, error) => process.stderr.write(`${error.stack}\n`));

  provider.use(async (ctx, next) => {
    if (!ctx.path.startsWith('/interaction/')) return next();
    const details = await provider.interactionDetails(ctx.req, ctx.res);
    if (ctx.method === 'GET') {
      ctx.type = 'html';
      ctx.body = page('Sign in to Example', `<form method="post"><label>Account <input name="account" autofocus></label>
<button>Sign in</button></form><p>For ${escaped(details.params.client_id)}</p>`);
      return undefined;
    }
    const form = new URLSearchParams(await text(ctx.req));
    const account = accounts.get(form.get('account'));
    const now = Math.floor(Date.now() / 1000);
    const result = account
      ? { login: { accountId: form.get('account'), acr: account.acr, amr: account.amr, ts: now - (account.age ?? 0) } }
      : { error: 'access_denied', error_description: 'no such account' };
    return provider.interactionFinished(ctx.req, ctx.res, result, { mergeWithLastSubmission: false });
  });
  return provider.callback();
}

async function text(request) {
  let all = '';
  for await (const part of request) all += part;
  return all;
}

for (const one of config.providers) {
  const answer = make(one);
  const server = https.createServer({ key: config.key, cert: config.certificate }, async (request, response) => {
    if (request.url === '/control' && request.headers.authorization === config.secret) {
      for (const [id, account] of Object.entries(JSON.parse(await text(request)))) accounts.set(id, account);
      response.end('{}');
    } else {
      answer(request, response);
    }
  });
  server.listen(one.port, '127.0.0.1');
  await once(server, 'listening');
}
process.stdout.write('ready\n');
