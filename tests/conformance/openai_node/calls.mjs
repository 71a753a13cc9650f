// One check with OpenAI's SDK, unchanged: node calls.mjs PACKAGE CHECK URL KEY. Prints what it saw, as JSON.
import { pathToFileURL } from 'node:url';

const [, , folder, check, baseURL, apiKey] = process.argv;
const { createRequire } = await import('node:module');
const require = createRequire(pathToFileURL(`${folder}/package.json`));
const { default: OpenAI, toFile } = require('openai');
const client = new OpenAI({ apiKey, baseURL });

const refused = async (call) => {
  try {
    await call();
  } catch (error) {
    return { name: error.constructor.name, status: error.status, code: error.code, param: error.param };
  }
  throw new Error('it was not refused');
};

const size = async (answer) => (await answer.arrayBuffer()).byteLength;

// The poll of newer SDKs, written out for older ones.
const finished = async (video) => {
  while (video.status === 'queued' || video.status === 'in_progress') {
    await new Promise((resolve) => setTimeout(resolve, 200));
    video = await client.videos.retrieve(video.id);
  }
  return video;
};

const checks = {
  async deliver() {
    const asked = { prompt: 'A node at dawn', seconds: '8', size: '1280x720' };
    const video = await finished(await client.videos.create(asked));
    return { ...video, bytes: await size(await client.videos.downloadContent(video.id)) };
  },
  async list() {
    const made = [];
    for (let number = 0; number < 5; number += 1) {
      made.push((await client.videos.create({ prompt: `A node, listed ${number}` })).id);
    }
    const found = [];
    for await (const video of client.videos.list({ limit: 2, order: 'asc' })) found.push(video.id);
    return { made, found: found.filter((id) => made.includes(id)) };
  },
  async source() {
    const source = await finished(await client.videos.create({ prompt: 'A node', size: '1280x720' }));
    const remix = await client.videos.remix(source.id, { prompt: 'A node, remixed' });
    const edit = await client.videos.edit({ prompt: 'A node, edited', video: { id: source.id } });
    const extend = await client.videos.extend({
      prompt: 'A node, longer',
      seconds: '8',
      video: { id: source.id },
    });
    return { source: source.id, remix, edit, extend };
  },
  async picture() {
    const png = Buffer.from(process.env.PICTURE, 'base64');
    const file = await toFile(png, 'a.png', { type: 'image/png' });
    return client.videos.create({ prompt: 'A node and a picture', size: '1280x720', input_reference: file });
  },
  async delete() {
    const video = await finished(await client.videos.create({ prompt: 'A node, deleted' }));
    const deleted = await client.videos.delete(video.id);
    return { deleted, then: await refused(() => client.videos.retrieve(video.id)) };
  },
  async refusals() {
    return {
      size: await refused(() => client.videos.create({ prompt: 'x', size: '1x1' })),
      seconds: await refused(() => client.videos.create({ prompt: 'x', seconds: '5' })),
      unknown: await refused(() => client.videos.retrieve('video_0')),
      key: await refused(() => new OpenAI({ apiKey: 'sk-x', baseURL }).videos.list()),
    };
  },
  async repeats() {
    return client.videos.create({ prompt: 'A node, repeated' });
  },
};

console.log(JSON.stringify(await checks[check]()));
