// Reads an AsyncAPI document on standard input with the official parser, and
// prints what that says about it as JSON.
import { readFileSync } from 'node:fs';
import { Parser } from '@asyncapi/parser';

const { document, diagnostics } = await new Parser().parse(readFileSync(0, 'utf8'));
console.log(JSON.stringify({
  version: document?.version(),
  messages: document?.allMessages().all().map((m) => m.id()).sort(),
  diagnostics: diagnostics.map(({ severity, code, path, message }) => ({ severity, code, path: path.join('.'), message })),
}));
