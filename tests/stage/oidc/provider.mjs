// An identity provider for tests: oidc-provider, an OpenID Certified server, with machines as clients (RFC 6749, 4.4) that get JWTs
// (RFC 9068). PORT and CLIENTS come by the environment. POST /rotate?alg=ES256 lets it go on with another key alone.
import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import { Provider } from "oidc-provider";

const port = Number(process.env.PORT);
const clients = JSON.parse(process.env.CLIENTS);
let number = 0;

function provider(alg) {
  const { privateKey } = alg === "ES256"
    ? generateKeyPairSync("ec", { namedCurve: "P-256" })
    : generateKeyPairSync("rsa", { modulusLength: 2048 });
  const key = { ...privateKey.export({ format: "jwk" }), kid: `key-${++number}`, alg, use: "sig" };
  const configuration = {
    clients: Object.keys(clients).map(name => ({
      client_id: name,
      client_secret: "secret-of-a-machine",
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
      id_token_signed_response_alg: alg,
    })),
    jwks: { keys: [key] },
    extraTokenClaims: (_, token) => clients[token.clientId].claims,
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => "urn:mesh",
        getResourceServerInfo: (_, __, client) => ({
          scope: "",
          audience: clients[client.clientId].audience ?? "pearlmesh",
          accessTokenTTL: clients[client.clientId].seconds ?? 300,
          accessTokenFormat: "jwt",
          jwt: { sign: { alg } },
        }),
      },
    },
  };
  return new Provider(`http://127.0.0.1:${port}`, configuration).callback();
}

let answer = provider("RS256");
createServer((request, response) => {
  const url = new URL(request.url, "http://localhost");
  if (url.pathname === "/rotate") {
    answer = provider(url.searchParams.get("alg"));
    response.end();
  } else {
    answer(request, response);
  }
}).listen(port, "127.0.0.1");
