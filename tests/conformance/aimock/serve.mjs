// aimock as it is, with a key and our fixtures: `node serve.mjs PACKAGE PORT KEY FIXTURES`.
import { pathToFileURL } from "node:url";

const [folder, port, key, fixtures] = process.argv.slice(2);
const { LLMock } = await import(pathToFileURL(`${folder}/dist/index.js`).href);
const mock = new LLMock({
  port: Number(port),
  auth: { apiKeys: [key] },
  logLevel: "info",
  // Two polls say in_progress; the third one says how it ended.
  openRouterVideo: { pollsBeforeInProgress: 1, pollsBeforeCompleted: 3 },
});
mock.loadFixtureFile(fixtures);
console.log(await mock.start());
