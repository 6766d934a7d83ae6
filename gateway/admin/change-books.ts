/** What changes of mappings are written with: the control tree of a root, its journal, its histories. */
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import type { Runtime } from '../../cluster/runtime/runtime.ts'
import type { GatewayConfig } from '../config.ts'
import { controlRootOf } from '../routing/control-nodes.ts'
import { ControlTree } from './control-tree.ts'
import { Journal } from './journal.ts'
import { TableHistories } from './table-history.ts'

export interface ChangeBooks {
  readonly tree: ControlTree
  readonly journal: Journal
  readonly histories: TableHistories
}

/** `gateway` is this one's id, for the audit. */
export function openBooks(
  runtime: Runtime,
  control: Coordinator,
  { zookeeper, history }: Pick<GatewayConfig, 'zookeeper' | 'history'>,
  gateway: () => string,
): ChangeBooks {
  const tree = new ControlTree(control, controlRootOf(zookeeper))
  return {
    tree,
    journal: new Journal(runtime, control, tree, gateway),
    histories: new TableHistories(control, tree, history.versionsPerTable),
  }
}
