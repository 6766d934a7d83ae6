/** Remote commands (upstream idl/command.thrift). Field ids and types: wire.md 13, meta-server.md appendix A, replica-server.md 19. */
import { type ValueOf, field, list, string, struct } from './schema.ts'

export const Command = struct('command', {
  cmd: field(1, string),
  arguments: field(2, list(string)),
})
export type Command = ValueOf<typeof Command>
