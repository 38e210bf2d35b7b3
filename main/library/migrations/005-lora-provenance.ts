import type { Migration } from '../migrate.ts';

/** Which expert a model was taken for, which its id need not say; and which LoRAs are of random weights. */
export const loraProvenance: Migration = {
  version: 5,
  up: (database) => database.exec(PROVENANCE),
};

/** Until now a file's warning was that of random weights and nothing else. */
const PROVENANCE = `
  ALTER TABLE lora_experts ADD COLUMN role TEXT;
  UPDATE lora_experts SET role = value FROM json_each('["style", "coarse", "fine", "bias"]')
    WHERE expert = value OR expert LIKE '%-i2l-' || value;
  CREATE INDEX lora_experts_by_role ON lora_experts (role, lora_id);
  ALTER TABLE loras ADD COLUMN synthetic INTEGER NOT NULL DEFAULT 0 CHECK (synthetic IN (0, 1));
  UPDATE loras SET synthetic = 1 WHERE warning <> '';
`;
