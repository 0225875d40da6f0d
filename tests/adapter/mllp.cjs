// A listener for HL7 v2 over MLLP (npm's node-hl7-server) on 127.0.0.1, plain or over TLS.
// Arguments: a JSON file with {port, key, cert, answers, out}, and where the modules are. Message number n is answered
// with answers[n], the last of them from then on; what came goes to "out", as the library parsed it, a line each.
const fs = require("fs");
const net = require("net");
const tls = require("tls");
const { createRequire } = require("module");

const [, , settings, modules] = process.argv;
const told = JSON.parse(fs.readFileSync(settings, "utf8"));
for (const kind of [net.Server, tls.Server]) {               // the library would listen on every address
  const listen = kind.prototype.listen;
  kind.prototype.listen = function (options, ...rest) { return listen.call(this, { ...options, host: "127.0.0.1" }, ...rest); };
}
const { Server } = createRequire(modules + "/")("node-hl7-server");
const secure = told.key ? { tls: { key: fs.readFileSync(told.key), cert: fs.readFileSync(told.cert) } } : {};
let count = 0;
const inbound = new Server(secure).createInbound({ port: told.port }, async (request, response) => {
  const message = request.getMessage();
  const answer = told.answers[Math.min(count++, told.answers.length - 1)];
  const of = (path) => message.get(path).toString();
  const read = Object.fromEntries(
    ["MSH.9.1", "MSH.10", "MSH.12", "PID.3.1", "PID.5.1", "PID.5.2", "PID.8", "OBR.2", "OBR.25"].map((path) => [path, of(path)]));
  fs.appendFileSync(told.out, JSON.stringify({ answer, read, text: message.toString() }) + "\n");
  await response.sendResponse(answer);
});
inbound.on("listen", () => console.log("ready"));
