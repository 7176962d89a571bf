// POSTs a job, shows its text as it comes, and goes on where it was after lost connections and reloads of the page.
const GATEWAY = 'http://127.0.0.1:8700'
const POOL = 'p'
const SAVED = 'tgi-pool-example'

const element = (id) => document.getElementById(id)
const say = (text) => {
  element('status').textContent = text
}

/** The job that is shown: `{ url, events, after, tokens, status, over }`; undefined before the first. */
let job = JSON.parse(sessionStorage.getItem(SAVED) ?? 'null') ?? undefined
let source

/** Text and place are kept together, so that they fit each other after a reload. */
function save() {
  if (job !== undefined) sessionStorage.setItem(SAVED, JSON.stringify(job))
}

async function post(url, body) {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  })
  const answer = await response.json()
  if (!response.ok) throw new Error(`${answer.error.code}: ${answer.error.message}`)
  return answer
}

async function send(prompt) {
  source?.close()
  say('sending')
  const inputs = { inputs: prompt, parameters: { max_new_tokens: 200 } }
  const accepted = await post(`${GATEWAY}/v1/jobs`, { pool: POOL, job_id: crypto.randomUUID(), ...inputs })
  const url = `${GATEWAY}/v1/jobs/${accepted.job_id}`
  job = {
    url,
    events: new URL(accepted.events, GATEWAY).href,
    after: '',
    tokens: [],
    status: 'accepted',
    over: false,
  }
  save()
  follow()
}

function follow() {
  const url = new URL(job.events)
  // Last-Event-ID is the browser's own and is gone with the page or the EventSource; `after` says the same.
  if (job.after !== '') url.searchParams.set('after', job.after)
  const current = new EventSource(url)
  source = current
  for (const name of ['queued', 'started', 'token', 'metrics', 'end', 'error', 'restart']) {
    current.addEventListener(name, (event) => {
      // Our `error` event has data; the one of the same name that EventSource makes when a line breaks has none.
      if (event.data === undefined) void lineBroke(current)
      else take(name, JSON.parse(event.data), event.lastEventId)
    })
  }
  show()
}

/** An EventSource comes again by itself, except after an answer that is no event stream, e.g. a 503. */
async function lineBroke(current) {
  say('reconnecting')
  if (current.readyState !== EventSource.CLOSED) return
  const response = await fetch(job.url).catch(() => undefined)
  const { error } = response?.ok === false ? await response.json().catch(() => ({})) : {}
  if (error?.retriable === false) say(`${error.code}: ${error.message}`)
  else setTimeout(() => current === source && follow(), 1000)
}

function take(name, data, id) {
  if (name === 'token') job.tokens.push(data.special ? '' : data.t)
  // What follows begins again, or at a token that is here already.
  if (name === 'restart') job.tokens = []
  if (name === 'started') job.tokens.length = Math.min(job.tokens.length, data.next_token)
  job.after = id
  job.over = name === 'end' || name === 'error'
  job.status = name === 'error' ? `${data.code}: ${data.message}` : name === 'token' ? 'streaming' : name
  if (job.over) source.close()
  if (name !== 'token') save()
  show()
}

function show() {
  // textContent: whatever the model writes stays text.
  element('answer').textContent = job.tokens.join('')
  element('stop').disabled = job.over
  say(job.status)
}

element('ask').addEventListener('submit', (event) => {
  event.preventDefault()
  send(element('prompt').value).catch((error) => say(error.message))
})
element('stop').addEventListener('click', () => {
  post(`${job.url}/cancel`, { reason: 'the reader has seen enough' }).catch((error) => say(error.message))
})
addEventListener('pagehide', save)
if (job?.over === true) show()
else if (job !== undefined) follow()
