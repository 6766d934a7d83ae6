/** A gateway where people log in, and how they do. */
import type { Page } from 'playwright-core'
import type { Test } from 'tap'
import { button } from './admin-screens.ts'
import { type PageWorld, startPageWorld } from './page-world.ts'

/** Everybody's. */
export const password = 'correct horse battery'

/** With the account `admin`. */
export function startAccountsWorld(t: Test, flags: readonly string[] = []): Promise<PageWorld> {
  const auth = ['--auth.enabled', 'true', '--auth.firstAdmin.password', 'env:FIRST_PASSWORD']
  return startPageWorld(t, {
    flags: [...auth, ...flags],
    environment: { FIRST_PASSWORD: password },
  })
}

/** Where the page asks for it. */
export async function logIn(page: Page, name: string, secret = password): Promise<void> {
  await page.getByLabel('User name').fill(name)
  await page.getByLabel('Password').fill(secret)
  await button(page, 'Log in').click()
}

/** As an administrator, at the review of a new user; `role` on everything. */
export async function reviewUser(page: Page, name: string, role: string): Promise<void> {
  await button(page, 'New user').click()
  await page.getByLabel('User', { exact: true }).fill(name)
  await page.getByLabel('Password', { exact: true }).fill(password)
  await page.getByLabel('Role', { exact: true }).selectOption(role)
  await button(page, 'Review').click()
  await button(page, `Create ${name}`).waitFor()
}
