/** Days as the filter of the audit has them, and the moments that the API takes. Pure. */

/** `2026-01-31` → ISO 8601 of its begin or its last millisecond; undefined when it is no day. */
export function dayAsMoment(
  day: string | undefined,
  side: 'begin' | 'end',
  zone: 'local' | 'utc',
): string | undefined {
  if (day === undefined || !/^\d{4}-\d{2}-\d{2}$/.test(day)) return undefined
  const time = side === 'begin' ? '00:00:00.000' : '23:59:59.999'
  const moment = new Date(`${day}T${time}${zone === 'utc' ? 'Z' : ''}`)
  return Number.isNaN(moment.getTime()) ? undefined : moment.toISOString()
}
