/** A dash where a value is not known, and why. */
export function Unknown({ why }: { readonly why: string }) {
  return (
    <span title={why}>
      <span aria-hidden="true">—</span>
      <span className="only-heard">{why}</span>
    </span>
  )
}
