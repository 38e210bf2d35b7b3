import { dinov3 } from '../networks/dinov3.ts';
import { i2l } from '../networks/i2l.ts';
import { recognise, type Network } from '../networks/network.ts';
import { qwen25vl } from '../networks/qwen25vl.ts';
import { siglip2 } from '../networks/siglip2.ts';
import { I2lError } from '../contract/errors.ts';
import { elementCount } from '../contract/tensor.ts';
import { Checkpoint } from '../weights/checkpoint.ts';
import type { Identity } from '../weights/identity.ts';
import { configBeside } from '../weights/locate.ts';

const NETWORKS = [siglip2, dinov3, qwen25vl, i2l] as unknown as readonly Network<object>[];

/** Says what a checkpoint is from its header alone. @throws I2lError if it isn't a safetensors file */
export function identify(path: string): Identity {
  const checkpoint = Checkpoint.open(path);
  const layout = checkpoint.layout();
  return {
    file: path,
    ...whatItIs(checkpoint),
    fingerprint: checkpoint.fingerprint(),
    tensors: layout.length,
    parameters: layout.reduce((sum, { shape }) => sum + elementCount(shape), 0),
    bytes: checkpoint.size,
    dtypes: [...new Set(layout.map(({ name }) => checkpoint.entry(name)?.dtype ?? ''))].sort(),
    synthetic: checkpoint.files.some(({ metadata }) => 'synthetic' in metadata),
  };
}

function whatItIs(checkpoint: Checkpoint): Pick<Identity, 'id' | 'network' | 'title'> {
  for (const network of NETWORKS) {
    try {
      const { publishedId } = recognise(network, checkpoint, configBeside(checkpoint.path));
      const title = publishedId === undefined ? `${network.title}, of other sizes than published` : network.title;
      return { id: publishedId, network: network.id, title };
    } catch (error) {
      const { code } = I2lError.from(error);
      // Its tensors are this architecture's; only heads and the like are told nowhere, or told wrongly.
      if (code === 'CONFIG_INVALID') {
        const title = `${network.title}, of other sizes than published; it needs a config.json`;
        return { id: undefined, network: network.id, title };
      }
      if (code === 'INTERNAL') throw error;
    }
  }
  const isLora = [...checkpoint.names].some((name) => /\.lora_(A|B|down|up)\./.test(name));
  return isLora ? { id: undefined, network: 'lora', title: 'LoRA' } : { id: undefined, network: undefined, title: 'not known' };
}
