// A real OIDC provider (npm's oidc-provider) over TLS, with a plain login page, for the hub's tests.
// Argument: a JSON file with {port, key, cert, client, secret, callback, people}; it is read again for every person.
import fs from "node:fs";
import https from "node:https";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [, , settings, modules] = process.argv;
const { Provider } = await import(pathToFileURL(createRequire(modules + "/").resolve("oidc-provider")));
const told = () => JSON.parse(fs.readFileSync(settings, "utf8"));
const { port, key, cert, client, secret, callback } = told();

const provider = new Provider(`https://127.0.0.1:${port}`, {
  clients: [{ client_id: client, client_secret: secret, redirect_uris: [callback], grant_types: ["authorization_code"],
    response_types: ["code"], token_endpoint_auth_method: "client_secret_post" }],
  claims: { openid: ["sub"], profile: ["preferred_username", "groups"] },
  cookies: { keys: ["for tests only"] },
  features: { devInteractions: { enabled: false } },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  findAccount: async (_, id) => ({ accountId: id, claims: async () => ({ sub: id, ...told().people[id].claims }) }),
  loadExistingGrant: async (ctx) => {
    const grant = new ctx.oidc.provider.Grant({
      clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
    grant.addOIDCScope("openid profile");
    await grant.save();
    return grant;
  },
});

const page = (said) => `<!doctype html><title>Hospital</title><h1>Hospital login</h1><p id="said">${said}</p>
<form method="post"><input name="id" id="id"><input name="password" id="password" type="password">
<button id="go">Go</button></form>`;

async function interaction(request, response) {
  response.setHeader("Content-Type", "text/html");
  if (request.method === "GET") return response.end(page(""));
  let body = "";
  for await (const part of request) body += part;
  const { id, password } = Object.fromEntries(new URLSearchParams(body));
  if (told().people[id]?.password !== password) return response.end(page("Wrong name or password."));
  return provider.interactionFinished(request, response, { login: { accountId: id } });
}

const answer = provider.callback();
https.createServer({ key: fs.readFileSync(key), cert: fs.readFileSync(cert) }, (request, response) =>
  (request.url.startsWith("/interaction/") ? interaction : answer)(request, response),
).listen(port, "127.0.0.1", () => console.log("ready"));
