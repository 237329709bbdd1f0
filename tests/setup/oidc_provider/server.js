// A certified OpenID Connect provider with the demo's people, for the tests of signing in.
//
//   node server.js '{"port": 4000, "base": "http://127.0.0.1:5001"}'
//
// `base` is where Tracegate is. A second port, printed as JSON with the first, takes the tests' orders:
//   POST /rotate              from now on another key signs, and only that one is published
//   POST /down, POST /up      no answer to anybody, and again
//   POST /people?name=&groups=a,b   what groups somebody has from now on; `gone=1`: nobody of that name
//   POST /jwt?name=           a JWT of somebody for the audience `traces`, signed by the key in force
import { createServer } from 'node:http';
import { generateKeyPairSync, randomUUID, createPrivateKey, sign } from 'node:crypto';
import Provider from 'oidc-provider';

const settings = JSON.parse(process.argv[2] ?? '{}');
const issuer = `http://127.0.0.1:${settings.port}`;
const lifetime = settings.tokenSeconds ?? 300;

const people = new Map(
  ['alice', 'bob', 'carol', 'dave', 'erin', 'lena', 'admin'].map((name) => [name, []]),
);
people.get('bob').push('analysts');
people.get('admin').push('admins');

let number = 0;
function newKey() {
  number += 1;
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { ...privateKey.export({ format: 'jwk' }), kid: `key-${number}`, use: 'sig', alg: 'ES256' };
}

let key;
let handle;
function withNewKey() {
  key = newKey();
  const client = {
    redirect_uris: [`${settings.base}/tracegate/login/callback`],
    post_logout_redirect_uris: [`${settings.base}/tracegate/logout`],
    grant_types: ['authorization_code', 'refresh_token'],
    id_token_signed_response_alg: 'ES256',
    backchannel_logout_uri: `${settings.base}/tracegate/backchannel-logout`,
    backchannel_logout_session_required: true,
  };
  const provider = new Provider(issuer, {
    clients: [
      { ...client, client_id: 'tracegate', client_secret: 'a secret: with + and %' },
      { ...client, client_id: 'tracegate-public', token_endpoint_auth_method: 'none' },
    ],
    jwks: { keys: [key] },
    cookies: { keys: ['only for tests'] },
    // Groups belong into the ID token, where most providers put them.
    conformIdTokenClaims: false,
    claims: { openid: ['sub', 'sid'], profile: ['preferred_username', 'groups'], email: ['email'] },
    pkce: { required: () => true },
    features: {
      devInteractions: { enabled: true },
      backchannelLogout: { enabled: true },
      rpInitiatedLogout: { enabled: true },
    },
    issueRefreshToken: async () => true,
    rotateRefreshToken: true,
    ttl: { AccessToken: lifetime, IdToken: lifetime, RefreshToken: 86400, Session: 86400, Grant: 86400, Interaction: 3600 },
    async findAccount(_, id) {
      if (!people.has(id)) return undefined;
      return {
        accountId: id,
        claims: () => ({ sub: id, preferred_username: id, email: `${id}@example.com`, groups: people.get(id) }),
      };
    },
  });
  handle = provider.callback();
}
withNewKey();

function jwt(name) {
  const now = Math.floor(Date.now() / 1000);
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const claims = { iss: issuer, sub: name, preferred_username: name, aud: 'traces', iat: now, exp: now + 3600, jti: randomUUID(), groups: people.get(name) ?? [] };
  const signed = `${part({ alg: 'ES256', kid: key.kid })}.${part(claims)}`;
  const signature = sign('sha256', Buffer.from(signed), { key: createPrivateKey({ key, format: 'jwk' }), dsaEncoding: 'ieee-p1363' });
  return `${signed}.${signature.toString('base64url')}`;
}

let down = false;
let asked = [];
const server = createServer((request, response) => {
  if (down) {
    request.socket.destroy();
    return;
  }
  asked.push(`${request.method} ${request.url.split('?')[0]}`);
  handle(request, response);
});

const orders = createServer((request, response) => {
  const url = new URL(request.url, issuer);
  let answer = {};
  switch (url.pathname) {
    case '/rotate': withNewKey(); answer = { kid: key.kid }; break;
    case '/down': down = true; server.closeAllConnections(); break;
    case '/up': down = false; break;
    case '/people': {
      const name = url.searchParams.get('name');
      if (url.searchParams.get('gone')) people.delete(name);
      else people.set(name, (url.searchParams.get('groups') ?? '').split(',').filter(Boolean));
      break;
    }
    case '/jwt': answer = { jwt: jwt(url.searchParams.get('name')) }; break;
    case '/asked': answer = { asked }; asked = []; break;
    default: response.statusCode = 404;
  }
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(answer));
});

server.listen(settings.port, '127.0.0.1', () => {
  orders.listen(0, '127.0.0.1', () => {
    console.log(JSON.stringify({ issuer, orders: `http://127.0.0.1:${orders.address().port}` }));
  });
});
