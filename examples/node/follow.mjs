// Follows the outcomes and acts on each request once. Each action is a line of JSON.

import { parseArgs } from 'node:util'
import { Consumer, FetchIsolationLevels, MessagesStreamFallbackModes, MessagesStreamModes, stringDeserializer } from '@platformatic/kafka'
import { Clerk, place } from './clerk.mjs'
import { Publisher, why } from './publish.mjs'

const TOPIC = 'closeorder.outcomes'
const USAGE = 'usage: follow.mjs --brokers HOST:PORT,... [--group NAME] [--exit-after ACTIONS] [--ask-again-after SECONDS]'

function flags () {
  const { values } = parseArgs({
    options: {
      brokers: { type: 'string' },
      group: { type: 'string', default: 'closeorder-example-node' },
      'exit-after': { type: 'string', default: '0' }, // 0: never
      'ask-again-after': { type: 'string', default: '60' }
    }
  })
  if (!values.brokers) throw new Error('--brokers is missing')
  const number = (name) => {
    if (!/^[0-9]+(\.[0-9]+)?$/.test(values[name])) throw new Error(`--${name} ${values[name]}: a number from 0 is wanted`)
    return Number(values[name])
  }
  return { brokers: values.brokers, group: values.group, exitAfter: number('exit-after'), pause: number('ask-again-after') }
}

let options
try {
  options = flags()
} catch (e) {
  console.error(`follow: ${e.message}\n${USAGE}`)
  process.exit(2)
}
const publisher = new Publisher(options.brokers)
const clerk = new Clerk(console.log, (...request) => publisher.publish(...request), options.pause)
const consumer = new Consumer({
  clientId: 'closeorder-example-node',
  bootstrapBrokers: options.brokers.split(','),
  groupId: options.group,
  // One that died is missed after so long, and until then its outcomes wait: the default is a minute. The request to join
  // a group waits for both times, and must not be given up meanwhile: this client gives up after 30 s, and its default
  // session is longer.
  sessionTimeout: 10_000,
  rebalanceTimeout: 20_000,
  // This client's default; not the default of others, and it decides what is read. It delivers some of what was aborted
  // all the same (findings/platformatic-aborted.sh): the rule of precedence.mjs takes that, too.
  isolationLevel: FetchIsolationLevels.READ_COMMITTED,
  // Shorter than its time-out for an answer, which is as long by default.
  maxWaitTime: 1000,
  deserializers: { headerKey: stringDeserializer, headerValue: stringDeserializer }
})

let stopping = false
try {
  const stream = await consumer.consume({
    topics: [TOPIC],
    // Where the group stands; a new one begins with the oldest outcome: all that was answered before it would be lost
    // otherwise.
    mode: MessagesStreamModes.COMMITTED,
    fallbackMode: MessagesStreamFallbackModes.EARLIEST,
    // Committed by time an outcome may be skipped that nobody has acted on.
    autocommit: false
  })
  // SIGTERM and Ctrl-C: what is begun is finished and committed, and the group hears that its member leaves.
  for (const signal of ['SIGTERM', 'SIGINT']) {
    process.once(signal, () => {
      stopping = true
      stream.destroy()
    })
  }
  for await (const message of stream) {
    await clerk.take(message)
    // After acting, never before: what is committed is never read again. One by one is slow and simple; by the batch it
    // is as safe.
    try {
      await message.commit()
    } catch (e) {
      // Another member has the partition now, or soon, and acts again on what is not committed.
      console.error(`follow: ${place(message)}: not committed: ${why(e)}`)
    }
    if (stopping || (options.exitAfter > 0 && clerk.actions >= options.exitAfter)) break
  }
} catch (e) {
  // What was not committed is read again by the next start.
  if (!stopping) {
    console.error(`follow: ${why(e)}`)
    process.exitCode = 1
  }
}
await consumer.close(true)
await publisher.close()
