/** The condition of check_and_set and check_and_mutate (data-model.md 3, table of check types). */
import { CasCheckType } from '../protocol/rrdb.ts'
import { parseInt64 } from './rrdb-integer.ts'

/** `invalid`: an integer check met a value or an operand that is no integer. */
export type CheckVerdict = 'passed' | 'failed' | 'invalid'

export function isKnownCheck(checkType: number): boolean {
  return checkType >= CasCheckType.CT_NO_CHECK && checkType <= CasCheckType.CT_VALUE_INT_GREATER
}

/** `value` is the live record's data, `undefined` when there is none. `checkType` is known. */
export function evaluateCheck(
  checkType: number,
  value: Buffer | undefined,
  operand: Buffer,
): CheckVerdict {
  switch (checkType) {
    case CasCheckType.CT_NO_CHECK:
      return 'passed'
    case CasCheckType.CT_VALUE_NOT_EXIST:
      return verdict(value === undefined)
    case CasCheckType.CT_VALUE_NOT_EXIST_OR_EMPTY:
      return verdict(value === undefined || value.length === 0)
    default:
      return value === undefined ? 'failed' : checkPresent(checkType, value, operand)
  }
}

function checkPresent(checkType: number, value: Buffer, operand: Buffer): CheckVerdict {
  if (checkType >= CasCheckType.CT_VALUE_INT_LESS) return checkInteger(checkType, value, operand)
  if (checkType >= CasCheckType.CT_VALUE_BYTES_LESS)
    return verdict(
      holds(checkType - CasCheckType.CT_VALUE_BYTES_LESS, Buffer.compare(value, operand)),
    )
  switch (checkType) {
    case CasCheckType.CT_VALUE_EXIST:
      return 'passed'
    case CasCheckType.CT_VALUE_NOT_EMPTY:
      return verdict(value.length > 0)
    case CasCheckType.CT_VALUE_MATCH_ANYWHERE:
      return verdict(value.includes(operand))
    case CasCheckType.CT_VALUE_MATCH_PREFIX:
      return verdict(operand.equals(value.subarray(0, operand.length)))
    default:
      return verdict(
        operand.length <= value.length &&
          operand.equals(value.subarray(value.length - operand.length)),
      )
  }
}

function checkInteger(checkType: number, value: Buffer, operand: Buffer): CheckVerdict {
  const left = parseInt64(value)
  const right = parseInt64(operand)
  if (left === undefined || right === undefined) return 'invalid'
  const order = left < right ? -1 : left > right ? 1 : 0
  return verdict(holds(checkType - CasCheckType.CT_VALUE_INT_LESS, order))
}

/** `relation`: 0 less, 1 less or equal, 2 equal, 3 greater or equal, 4 greater. */
function holds(relation: number, order: number): boolean {
  if (order < 0) return relation <= 1
  return order > 0 ? relation >= 3 : relation >= 1 && relation <= 3
}

function verdict(passed: boolean): CheckVerdict {
  return passed ? 'passed' : 'failed'
}
