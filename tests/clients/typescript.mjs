// One call of every tool with the TypeScript SDK's client, over stdio and HTTP, in both protocol eras.
// Arguments: the command, the endpoint's URL, and JSON of tool → arguments. Started by typescript.py.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import assert from 'node:assert/strict';

const [command, url, calls] = process.argv.slice(2);
const examples = JSON.parse(calls);
const answers = [];

for (const mode of ['legacy', { pin: '2026-07-28' }]) {
  for (const kind of ['stdio', 'http']) {
    const client = new Client({ name: 'check', version: '1' }, { versionNegotiation: { mode } });
    await client.connect(
      kind === 'stdio' ? new StdioClientTransport({ command }) : new StreamableHTTPClientTransport(new URL(url)),
    );
    const { tools } = await client.listTools();
    assert.deepEqual(tools.map((tool) => tool.name).sort(), Object.keys(examples).sort());
    const given = {};
    for (const [name, args] of Object.entries(examples)) {
      const result = await client.callTool({ name, arguments: args });
      assert.ok(!result.isError, JSON.stringify(result));
      assert.ok(result.structuredContent && result.content[0].text);
      given[name] = result.structuredContent;
    }
    const wrong = await client.callTool({ name: 'roofline', arguments: { hardware: 'H10O', model: 'llama-3.1-8b' } });
    assert.ok(wrong.isError && wrong.content[0].text.includes('Call again with:'));
    await assert.rejects(client.callTool({ name: 'rooflin', arguments: {} }), /roofline/);
    const { resources } = await client.listResources();
    for (const { uri } of resources) assert.ok((await client.readResource({ uri })).contents[0].text);
    const { prompts } = await client.listPrompts();
    for (const { name } of prompts) assert.ok((await client.getPrompt({ name })).messages.length);
    await client.close();
    answers.push(JSON.stringify(given));
    console.log(`typescript ${kind} ${mode.pin ?? mode}: ${tools.length} tools, ${resources.length} resources, ${prompts.length} prompts`);
  }
}
assert.ok(answers.every((answer) => answer === answers[0]), 'the same call gave different answers');
