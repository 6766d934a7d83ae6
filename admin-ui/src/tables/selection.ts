/**
 * Which tables of a list are selected: some names, or all that match the filter, the loaded ones or
 * not (admin-ui.md 3.2). Immutable.
 */
export type Selection =
  | { readonly kind: 'some'; readonly names: ReadonlySet<string> }
  | { readonly kind: 'all'; readonly total: number }

export const nothingSelected: Selection = { kind: 'some', names: new Set() }

export function selectedCount(selection: Selection): number {
  return selection.kind === 'all' ? selection.total : selection.names.size
}

export function isSelected(selection: Selection, name: string): boolean {
  return selection.kind === 'all' || selection.names.has(name)
}

/** Of "all that match", unselecting one leaves those that are loaded and were not unselected. */
export function toggled(selection: Selection, name: string, loaded: readonly string[]): Selection {
  const names = new Set(selection.kind === 'all' ? loaded : selection.names)
  if (!names.delete(name)) names.add(name)
  return { kind: 'some', names }
}

/** From `anchor` to `name`, as with the shift key; both ends included. */
export function extended(
  selection: Selection,
  anchor: string,
  name: string,
  loaded: readonly string[],
): Selection {
  const [from, to] = [loaded.indexOf(anchor), loaded.indexOf(name)]
  if (from < 0 || to < 0) return toggled(selection, name, loaded)
  const between = loaded.slice(Math.min(from, to), Math.max(from, to) + 1)
  const before = selection.kind === 'all' ? loaded : selection.names
  return { kind: 'some', names: new Set([...before, ...between]) }
}
