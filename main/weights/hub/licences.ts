import { I2lError } from '../../contract/errors.ts';
import type { CatalogueEntry } from '../catalogue.ts';

/**
 * @param accepted ids of the licences that the user has agreed to
 * @throws I2lError LICENCE_NOT_ACCEPTED with its id, title and url, for the first that isn't among them
 */
export function checkLicences(models: readonly CatalogueEntry[], accepted: readonly string[]): void {
  for (const { id, title, licence } of models) {
    if (!licence.mustAccept || accepted.includes(licence.id)) continue;
    const message = `${title}: it comes under the ${licence.title}; read it at ${licence.url} and accept it first (--accept-licence ${licence.id}).`;
    throw new I2lError('LICENCE_NOT_ACCEPTED', message, { model: id, licence: licence.id, title: licence.title, url: licence.url });
  }
}
