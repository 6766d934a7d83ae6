/** Entry of the admin page: puts the application into the document. */
import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { App } from './app/app.tsx'
import { watchLeaving } from './design/staying.ts'
import './design/tokens.css'
import './design/base.css'

const root = document.getElementById('root')
if (root === null) throw new Error('index.html has no #root')
watchLeaving()
createRoot(root).render(
  <StrictMode>
    <App />
  </StrictMode>,
)
