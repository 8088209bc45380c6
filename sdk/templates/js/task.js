// The task `{{name}}`.

import { Refused, log, task, writeOut } from "./vendor/bindery/bindery.js";

export const { definition, computeTask } = task({
  definition: {
    id: "{{name}}",
    version: "0.1.0",
    title: "{{title}}",
    category: "Text",
    summary: "Counts the words of a text",
    parameters: {
      type: "object",
      properties: {
        top: {
          type: "integer",
          title: "Words",
          description: "How many of the most frequent words are given.",
          minimum: 1,
          maximum: 1000,
          default: 10,
        },
        fold_case: {
          type: "boolean",
          title: "Ignore case",
          description: "Count `The` and `the` as one word.",
          default: true,
        },
      },
      additionalProperties: false,
    },
    inputs: [{ name: "text", title: "Text", summary: "UTF-8 text", cardinality: "one" }],
    output: {
      type: "object",
      properties: {
        words: { type: "integer" },
        distinct: { type: "integer" },
        most: { type: "array", items: { type: "object" } },
      },
      required: ["words", "distinct", "most"],
    },
    artifacts: [{ name: "words.csv", mediaType: "text/csv", title: "All words with their counts" }],
  },

  // What the schema cannot say: here, that the file is a text. Throw `new Refused([…])` with all
  // faults; `text()` does so itself.
  validate(request) {
    request.input("text")?.text();
    return request.parameters;
  },

  compute(request) {
    const { top, fold_case: foldCase } = request.parameters;
    const file = request.input("text");
    if (!file) {
      throw new Refused([{ pointer: "/inputs/text", code: "required", message: "A text is needed." }]);
    }
    const counts = count(file.text(), foldCase);
    log.info(`${counts.length} distinct words`);
    writeOut("words.csv", ["word,count", ...counts.map((pair) => pair.join(","))].join("\n") + "\n");

    const most = counts.slice(0, top).map(([word, count]) => ({ word, count }));
    const words = counts.reduce((sum, [, count]) => sum + count, 0);
    return {
      output: { words, distinct: counts.length, most },
      metrics: [{ name: "words", value: words }],
      artifacts: [{ name: "words.csv", mediaType: "text/csv", title: "All words with their counts" }],
      views: [
        {
          kind: "table",
          title: "Most frequent words",
          spec: {
            columns: [
              { key: "word", title: "Word", type: "text" },
              { key: "count", title: "Count", type: "integer" },
            ],
            rows: counts.slice(0, top),
          },
        },
      ],
    };
  },
});

/** Words with their counts: most frequent first, those of one count in the order of the alphabet. */
function count(text, foldCase) {
  const counts = new Map();
  for (let word of text.split(/[^\p{L}\p{N}]+/u).filter(Boolean)) {
    if (foldCase) word = word.toLowerCase();
    counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  return [...counts].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1));
}
