// An EHR for tests: oidc-provider as its authorization server, and before a FHIR server that knows no tokens a gate
// that asks for one and for its scopes. Settings come as JSON in the first argument; nothing is kept.
import http from 'node:http';
import Provider from 'oidc-provider';

const given = JSON.parse(process.argv[2]);
const origin = `http://localhost:${given.port}`;
const scopes = given.scopes;
// What people here allow, by who signs in: the name is typed into the login form.
const state = { patient: given.patient, refuse: [], banner: true, style: null, life: 300, refresh: true, silent: false, only: '', swap: '' };

const provider = new Provider(origin, {
  clients: given.clients,
  scopes: ['openid', 'fhirUser', 'profile', 'online_access', 'offline_access', 'launch', 'launch/patient', 'groups', ...scopes],
  claims: { openid: ['sub'], fhirUser: ['fhirUser'], profile: ['name'], groups: ['groups'] },
  conformIdTokenClaims: false,
  extraParams: ['aud', 'launch'],
  pkce: { required: () => true },
  cookies: { keys: ['test'] },
  jwks: given.jwks,
  features: { devInteractions: { enabled: true }, revocation: { enabled: true }, introspection: { enabled: true } },
  clientAuthMethods: ['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'],
  enabledJWA: { clientAuthSigningAlgValues: ['ES384', 'RS384'], idTokenSigningAlgValues: ['RS256'] },
  rotateRefreshToken: true,
  issueRefreshToken: async (ctx, client, code) => state.refresh && (code.scopes.has('offline_access') || code.scopes.has('online_access')),
  ttl: { AccessToken: () => state.life, AuthorizationCode: 60, IdToken: 600, RefreshToken: 3600, Grant: 3600, Session: 3600, Interaction: 600 },
  findAccount: async (ctx, id) => ({
    accountId: id,
    claims: async () => ({ sub: id, fhirUser: `${given.fhir ?? `${origin}/fhir`}/Practitioner/${id}`, name: given.names[id], groups: given.groups[id] ?? [] }),
  }),
  loadExistingGrant: async (ctx) => {
    const { client, session, params } = ctx.oidc;
    const before = await provider.Grant.find(session.grantIdFor(client.clientId) ?? '-');
    if (before && !state.refuse.length) return before;
    const grant = new provider.Grant({ accountId: session.accountId, clientId: client.clientId });
    for (const scope of params.scope.split(' ')) if (!state.refuse.includes(scope)) grant.addOIDCScope(scope);
    grant.rejectOIDCScope(state.refuse.join(' '));
    await grant.save();
    return grant;
  },
});
provider.use(async (ctx, next) => {
  await next();
  if (ctx.oidc?.route === 'token' && ctx.body?.access_token) {
    ctx.body.patient = state.patient;
    ctx.body.need_patient_banner = state.banner;
    if (state.style) ctx.body.smart_style_url = state.style;
  }
});

const letters = { read: 'rs', write: 'cud', '*': 'cruds' };
function allowed(scope, type, letter) {
  return scope.split(' ').some((each) => {
    const found = /^(?:patient|user)\/(\*|\w+)\.([a-z*]+)$/.exec(each);
    return found && ['*', type].includes(found[1]) && (letters[found[2]] ?? found[2]).includes(letter);
  });
}
async function gate(request, response) {
  const path = request.url.slice('/fhir/'.length);
  const say = (status, body, more = {}) => {
    response.writeHead(status, { 'content-type': 'application/fhir+json', ...more });
    response.end(JSON.stringify(body));
  };
  if (path === '.well-known/smart-configuration') {
    return say(200, {
      issuer: origin, jwks_uri: `${origin}/jwks`, authorization_endpoint: `${origin}/auth`, token_endpoint: `${origin}/token`,
      revocation_endpoint: `${origin}/token/revocation`, code_challenge_methods_supported: ['S256'],
      capabilities: ['launch-ehr', 'launch-standalone', 'client-public', 'sso-openid-connect', 'permission-v2', 'permission-v1'],
      token_endpoint_auth_methods_supported: ['client_secret_basic', 'private_key_jwt'],
    });
  }
  const type = path.split(/[/?]/)[0];
  if (path !== 'metadata') {
    const token = (request.headers.authorization ?? '').replace(/^Bearer /, '');
    if (token !== given.backend) {
      const found = await provider.AccessToken.find(token);
      if (!found || found.isExpired) return say(401, { resourceType: 'OperationOutcome', issue: [{ severity: 'error', code: 'login' }] });
      const letter = request.method === 'POST' ? (path.includes('_search') ? 's' : 'c') : request.method === 'PUT' ? 'u' : path.includes('/') ? 'r' : 's';
      if (type && !allowed(found.scope ?? '', type, letter)) return state.silent ? say(200, { resourceType: 'Bundle', type: 'searchset', total: 0 }) : say(403, { resourceType: 'OperationOutcome', issue: [{ severity: 'error', code: 'forbidden' }] });
    }
  }
  const asked = /^Patient\/([^/?]+)/.exec(path)?.[1];
  if (asked && state.only && asked !== state.only) return say(403, { resourceType: 'OperationOutcome', issue: [{ severity: 'error', code: 'forbidden' }] });
  const body = [];
  for await (const part of request) body.push(part);
  const headers = {};
  for (const name of ['accept', 'content-type', 'if-none-exist', 'if-match', 'prefer']) if (request.headers[name]) headers[name] = request.headers[name];
  const answer = await fetch(`${given.behind}/${asked && state.swap ? path.replace(asked, state.swap) : path}`, { method: request.method, headers, body: body.length ? Buffer.concat(body) : undefined });
  const text = Buffer.from(await answer.arrayBuffer());
  const kept = Object.fromEntries(['content-type', 'etag', 'location', 'last-modified'].flatMap((n) => (answer.headers.get(n) ? [[n, answer.headers.get(n)]] : [])));
  response.writeHead(answer.status, kept);
  response.end(text);
}

const page = (src) => `<!doctype html><html lang="en"><title>EHR</title><style>body{margin:0;font:14px sans-serif;background:#345;color:#fff}iframe{width:100%;height:900px;border:0;background:#fff}</style><p>The EHR</p><iframe title="app" src="${src}"></iframe></html>`;
const oidc = provider.callback();
http.createServer(async (request, response) => {
  try {
    if (request.url === '/state' && request.method === 'POST') {
      let text = '';
      for await (const part of request) text += part;
      Object.assign(state, JSON.parse(text));
      return response.end('ok');
    }
    if (request.url.startsWith('/chart?')) {
      response.writeHead(200, { 'content-type': 'text/html' });
      return response.end(page(new URL(request.url, origin).searchParams.get('app').replaceAll('"', '')));
    }
    if (request.url === '/style.json') return response.end(JSON.stringify({ color_background: '#fffdf5', color_text: '#222222', color_highlight: '#7a1f5c' }));
    if (request.url.startsWith('/fhir')) return await gate(request, response);
    return oidc(request, response);
  } catch (error) {
    response.writeHead(500);
    response.end(String(error));
  }
}).listen(given.port, 'localhost');
