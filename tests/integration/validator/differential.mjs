// Loads a validator and gives its answers: `node differential.mjs MODULE REQUESTS ANSWERS`.
//
// REQUESTS is a JSON list. ANSWERS gets, for each request, the text that a browser would send and
// what the validator said, then how long a call takes.

import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [, , modulePath, requestsPath, answersPath] = process.argv;
const CALLS = 1000;

const begun = performance.now();
const { validate, task } = await import(pathToFileURL(modulePath));
const loadMs = performance.now() - begun;
const requests = JSON.parse(readFileSync(requestsPath, "utf8"));

const answers = requests.map((request) => {
  const sent = JSON.stringify(request);
  try {
    return { sent, answer: validate(request) };
  } catch (error) {
    return { sent, broke: error.code ?? String(error) };
  }
});

// Of a request that is good, where there is one.
const good = answers.findIndex(({ answer }) => answer?.parameters);
const timed = requests[Math.max(good, 0)];
const started = performance.now();
for (let call = 0; call < CALLS; call++) {
  try {
    validate(timed);
  } catch {
    // Breaking takes its time as well.
  }
}
const microseconds = ((performance.now() - started) * 1000) / CALLS;
writeFileSync(answersPath, JSON.stringify({ task, loadMs, microseconds, answers }));
