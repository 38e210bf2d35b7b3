import { Library } from '../../main/library/library.ts';

/**
 * Writes to a library until it is killed, and says what it has finished:
 * node write-on.ts FOLDER LORA… . Each LoRA goes to the trash and back, and sets are made meanwhile.
 */
const [folder = ''] = process.argv.slice(2);
const library = await Library.open(folder, { role: 'owner', name: 'a writer', waitMs: 10_000 });
const ids = library.loras.list({ trashed: false }).loras.map(({ id }) => id);
const trashed = library.loras.list({ trashed: true }).loras.map(({ id }) => id);
console.log('open');
for (let i = 0; ; i++) {
  const { id } = library.sets.create({ name: `set ${i}`, notes: 'x'.repeat(2000) });
  library.database.write(() => {
    library.sets.update(id, { name: `changed ${i}` });
    library.sets.update(id, { notes: `changed ${i}` });
  });
  process.stdout.write(`${id}\n`);
  const all = [...ids, ...trashed];
  await library.loraFiles.remove(all, 'own');
  await library.loraFiles.undo(all);
  if (i % 5 === 4) await library.loraFiles.rename(all[i % all.length] ?? 0, `name ${i}`, 'own');
}
