/** An entry whose draft is nothing but texts: a dialog of the fields that it has. */
import { useId } from 'react'
import { control, Field, Form } from '../design/field.tsx'
import { isNodeName } from '../tables/table-draft.ts'
import { useText } from '../text/text.tsx'
import { EntryDialog, type EntryDialogProps, errorOf, type FieldErrors } from './entry-dialog.tsx'

export interface TextField<Draft> {
  /** Also the API's name of it, for errors. */
  readonly name: keyof Draft & string
  readonly label: string
  readonly hint?: string
  readonly placeholder?: string
  /** Lines that are shown; a single line when left out. */
  readonly rows?: number
  readonly suggestions?: readonly string[]
  /** Of a new entry alone, and has the focus: its name. */
  readonly isName?: boolean
  /** In words, not in names and addresses. */
  readonly isProse?: boolean
}

type Texts<Draft> = { readonly [Name in keyof Draft]: string }

export function FieldsDialog<Draft extends Texts<Draft>>(
  props: Omit<EntryDialogProps<Draft>, 'form' | 'review'> & {
    readonly fields: readonly TextField<Draft>[]
  },
) {
  const { fields, ...rest } = props
  const isNew = props.base === undefined && props.first === undefined
  return (
    <EntryDialog
      {...rest}
      form={(draft, onChange, errors) => (
        <Form>
          {fields
            .filter(({ isName = false }) => isNew || !isName)
            .map((field) => (
              <OneField
                key={field.name}
                field={field}
                value={draft[field.name]}
                errors={errors}
                onChange={(value) => onChange({ ...draft, [field.name]: value })}
              />
            ))}
        </Form>
      )}
    />
  )
}

function OneField<Draft>(props: {
  readonly field: TextField<Draft>
  readonly value: string
  readonly errors: FieldErrors
  readonly onChange: (value: string) => void
}) {
  const { field, value, errors, onChange } = props
  const { name, label, hint, placeholder, rows, suggestions, isName = false } = field
  const list = useId()
  const { t } = useText()
  const common = {
    className: control,
    placeholder,
    autoFocus: isName,
    spellCheck: field.isProse ?? false,
    value,
  }
  return (
    <Field
      label={label}
      hint={hint}
      error={
        errorOf(errors, name) ??
        (isName && value !== '' && !isNodeName(value.trim()) ? t('form.badNodeName') : undefined)
      }
    >
      {(ids) =>
        rows === undefined ? (
          <>
            <input
              {...ids}
              {...common}
              list={suggestions === undefined ? undefined : list}
              onChange={({ target }) => onChange(target.value)}
            />
            {suggestions !== undefined && (
              <datalist id={list}>
                {suggestions.map((suggestion) => (
                  <option key={suggestion} value={suggestion} />
                ))}
              </datalist>
            )}
          </>
        ) : (
          <textarea
            {...ids}
            {...common}
            rows={rows}
            onChange={({ target }) => onChange(target.value)}
          />
        )
      }
    </Field>
  )
}
