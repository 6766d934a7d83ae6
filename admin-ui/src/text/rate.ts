/** What happens so often in a second: no more digits than say something. */
export function rateText(perSecond: number, shown: (value: number) => string): string {
  if (perSecond > 0 && perSecond < 0.1) return `< ${shown(0.1)}`
  return shown(perSecond < 10 ? Math.round(perSecond * 10) / 10 : Math.round(perSecond))
}
