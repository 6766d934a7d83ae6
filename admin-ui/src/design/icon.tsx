/** Our few icons: 16 × 16, one stroke, the colour of the text beside them. Never the only carrier of a meaning. */
const paths = {
  overview: 'M2.5 2.5h4.5v4.5h-4.5zM9 2.5h4.5v4.5H9zM2.5 9h4.5v4.5h-4.5zM9 9h4.5v4.5H9z',
  tables: 'M2.5 3.5h11v9h-11zM2.5 6.5h11M6.5 6.5v6',
  clusters: 'M3 3h10v3.5H3zM3 9.5h10V13H3zM5.2 4.8h.1M5.2 11.2h.1M8 6.5v3',
  groups:
    'M5.5 7.5a2 2 0 1 0 0-4 2 2 0 0 0 0 4ZM2 13c0-2 1.5-3.5 3.5-3.5S9 11 9 13M10.5 7.5a1.7 1.7 0 1 0-.4-3.3M11 9.6c1.8.2 3 1.5 3 3.4',
  gateways: 'M2.5 8h3.2l2-3.8h5.8M5.7 8l2 3.8h5.8M11.5 2.5l2 1.7-2 1.7M11.5 10.1l2 1.7-2 1.7',
  audit: 'M4 2.5h8v11H4zM6 5.5h4M6 8h4M6 10.5h2.5',
  settings: 'M3 4.5h5M11 4.5h2M3 8h2M8 8h5M3 11.5h6M12 11.5h1M9.5 3v3M6.5 6.5v3M10.5 10v3',
  search: 'M7 11.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9ZM10.4 10.4 13.5 13.5',
  plus: 'M8 3v10M3 8h10',
  close: 'M4 4l8 8M12 4l-8 8',
  check: 'M3 8.5l3.2 3.2L13 5',
  warning: 'M8 2.5 14 13.5H2zM8 6.5v3.2M8 11.6v.1',
  error: 'M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12ZM8 5v3.6M8 10.9v.1',
  info: 'M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12ZM8 7.4V11M8 5.1V5',
  clock: 'M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12ZM8 4.8V8l2.2 1.6',
  lock: 'M4 7.5h8v6H4zM5.8 7.5V5.3a2.2 2.2 0 0 1 4.4 0v2.2',
  link: 'M6.5 9.5l3-3M7 4.8l1.4-1.4a2.6 2.6 0 0 1 3.7 3.7L10.7 8.5M9 11.2l-1.4 1.4a2.6 2.6 0 0 1-3.7-3.7l1.4-1.4',
  unlink:
    'M7 4.8l1.4-1.4a2.6 2.6 0 0 1 3.7 3.7L10.7 8.5M9 11.2l-1.4 1.4a2.6 2.6 0 0 1-3.7-3.7l1.4-1.4M3 3l10 10',
  redirect: 'M2.5 11.5V9a3 3 0 0 1 3-3h7M9.5 3l3 3-3 3',
  drift:
    'M2.5 6c1.8-2 3.7-2 5.5 0s3.700 2 5.500 0M2.500 11c1.800-2 3.700-2 5.500 0s3.700 2 5.500 0',
  edit: 'M3 13l.6-2.700L10.500 3.400l2.100 2.100L5.700 12.400zM9 4.900 11.100 7',
  trash:
    'M3 4.500h10M6.500 4.500V3h3v1.500M4.500 4.500l.600 8.500h5.800l.600-8.500M6.800 7v3.500M9.200 7v3.500',
  download: 'M8 2.500v7.500M5 7.200 8 10.200l3-3M3 13h10',
  upload: 'M8 10.500V3M5 5.800 8 2.800l3 3M3 13h10',
  history: 'M3 4v2.800h2.800M3.200 6.800A5.200 5.200 0 1 1 3 9.500M8 5.500V8.300l2 1.400',
  undo: 'M6 3.500 3 6.500l3 3M3 6.500h6.500a3.500 3.500 0 0 1 0 7H6.500',
  refresh: 'M13 3v3.200H9.800M12.800 6.200A5.200 5.200 0 1 0 13 9.500',
  copy: 'M5.500 5.500h8v8h-8zM10.500 5.500v-3h-8v8h3',
  more: 'M3.500 8h.1M8 8h.1M12.500 8h.1',
  menu: 'M2.500 4.500h11M2.500 8h11M2.500 11.500h11',
  chevronDown: 'M4 6l4 4 4-4',
  chevronRight: 'M6 4l4 4-4 4',
  sun: 'M8 10.800a2.800 2.800 0 1 0 0-5.600 2.800 2.800 0 0 0 0 5.600ZM8 1.800v1.400M8 12.800v1.400M1.800 8h1.400M12.800 8h1.400M3.600 3.600l1 1M11.400 11.400l1 1M12.400 3.600l-1 1M4.600 11.400l-1 1',
  moon: 'M13 9.400A5.500 5.500 0 0 1 6.600 3 5.500 5.500 0 1 0 13 9.400Z',
  screen: 'M2.500 3.500h11v7.500h-11zM6 13.500h4M8 11v2.500',
  user: 'M8 8a2.700 2.700 0 1 0 0-5.400A2.700 2.700 0 0 0 8 8ZM3 13.500c.4-2.300 2.300-3.700 5-3.700s4.600 1.400 5 3.700',
  columns: 'M2.500 3h11v10h-11zM6.200 3v10M9.800 3v10',
  external: 'M6.500 3.500h-3v9h9v-3M9 3h4v4M13 3 7.500 8.500',
  drain: 'M3 3h10l-4 5v4l-2 1.500V8zM12 11v2.500M10.500 12.200 12 13.700l1.500-1.500',
  bolt: 'M9 2 4 9h3.500L7 14l5-7H8.500z',
} as const

export type IconName = keyof typeof paths

export function Icon({ name, size = 16 }: { readonly name: IconName; readonly size?: number }) {
  return (
    <svg
      aria-hidden="true"
      focusable="false"
      width={size}
      height={size}
      viewBox="0 0 16 16"
      fill="none"
      stroke="currentColor"
      strokeWidth={1.5}
      strokeLinecap="round"
      strokeLinejoin="round"
    >
      <path d={paths[name]} />
    </svg>
  )
}
