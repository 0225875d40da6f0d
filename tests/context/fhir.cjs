// A FHIR R4 server from npm (node-fhir-server-core) over TLS, holding what a JSON file lists: {"Patient": [...], ...}.
// Arguments: a JSON file with {port, key, cert, token, resources, page}, and where the modules are.
// Searches by identifier and patient, in pages; what is created is added to the file "created" beside the settings.
const fs = require("fs");
const https = require("https");
const path = require("path");
const { createRequire } = require("module");

const [, , settings, modules] = process.argv;
const load = createRequire(modules + "/");
const { initialize, loggers, resolveSchema } = load("@asymmetrik/node-fhir-server-core");
const told = JSON.parse(fs.readFileSync(settings, "utf8"));
const VERSION = "4_0_1";
const base = `https://127.0.0.1:${told.port}/${VERSION}`;

const of = (one, patient) => [one.subject, one.patient].some((ref) => ref && ref.reference === `Patient/${patient}`);
const fits = (one, { identifier, patient }) =>
  (!identifier || (one.identifier || []).some((id) => `${id.system}|${id.value}` === identifier))
  && (!patient || of(one, patient));

const service = (name) => ({
  search: async (_, { req }) => {
    const page = Number(req.query.page || 0);
    const found = (told.resources[name] || []).filter((one) => fits(one, req.query));
    const part = found.slice(page * told.page, (page + 1) * told.page);
    const more = found.length > (page + 1) * told.page;
    const query = new URLSearchParams({ ...req.query, page: page + 1 });
    const Bundle = resolveSchema(VERSION, "bundle"), Resource = resolveSchema(VERSION, name.toLowerCase());
    return new Bundle({
      type: "searchset", total: found.length,
      link: more ? [{ relation: "next", url: `${base}/${name}?${query}` }] : [],
      entry: part.map((one) => ({ resource: new Resource(one) })),
    });
  },
  create: async (_, { req }) => {
    const Resource = resolveSchema(VERSION, name.toLowerCase());
    const kept = path.join(path.dirname(settings), "created.jsonl");
    fs.appendFileSync(kept, JSON.stringify(new Resource(req.body).toJSON()) + "\n");
    return { id: String(fs.readFileSync(kept, "utf8").trim().split("\n").length) };
  },
});

const names = ["Patient", "Condition", "Procedure", "Device", "MedicationStatement", "MedicationRequest", "DiagnosticReport"];
loggers.initialize({ level: "error" });
const express = load("express");
const app = express();
app.use((req, res, next) => (!told.token || req.headers.authorization === `Bearer ${told.token}` ? next() : res.sendStatus(401)));
initialize({
  profiles: Object.fromEntries(names.map((name) => [name, { service: service(name), versions: [VERSION] }])),
}, app);
https.createServer({ key: fs.readFileSync(told.key), cert: fs.readFileSync(told.cert) }, app)
  .listen(told.port, "127.0.0.1", () => console.log("ready"));
