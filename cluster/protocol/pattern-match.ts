/** Shared enums (upstream idl/utils.thrift). Field ids and types: wire.md 13, meta-server.md appendix A, replica-server.md 19. */

export const PatternMatchType = {
  PMT_INVALID: 0,
  PMT_MATCH_ALL: 1,
  PMT_MATCH_EXACT: 2,
  PMT_MATCH_ANYWHERE: 3,
  PMT_MATCH_PREFIX: 4,
  PMT_MATCH_POSTFIX: 5,
  PMT_MATCH_REGEX: 6,
} as const

export const ChecksumType = {
  CST_INVALID: 0,
  CST_NONE: 1,
  CST_MD5: 2,
} as const
