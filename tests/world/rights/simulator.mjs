// Answers whether IAM would allow something: @cloud-copilot/iam-simulate with AWS's Service Authorization Reference, over HTTP
// on 127.0.0.1.
//
//     node simulator.mjs FOLDER-WITH-NODE_MODULES
//
// Takes {"policy": …, "needs": [{"action", "resource", "keys"}]} and answers with one object for each need: {"sid": …} names the
// first statement that allows it, {"sid": null} is a denial, {"error": …} is a question that AWS's reference does not know.
// Condition keys that the action does not know are left out, as AWS has no value for them. Prints its port, and ends when its
// standard input does.

import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const require = createRequire(join(process.argv[2], 'package.json'))
const { runSimulation } = await import(pathToFileURL(require.resolve('@cloud-copilot/iam-simulate')).href)

const ACCOUNT = '123456789012'

// The default policy of a KMS key: the account's IAM policies decide (AWS KMS Developer Guide, "Default key policy").
const KEY_POLICY = {
  Version: '2012-10-17',
  Statement: [
    {
      Sid: 'Enable IAM User Permissions',
      Effect: 'Allow',
      Principal: { AWS: `arn:aws:iam::${ACCOUNT}:root` },
      Action: 'kms:*',
      Resource: '*',
    },
  ],
}

// Statements of other actions say nothing about this one, and reading them is most of the work: 1.5 ms a question instead of 7.
function about(policy, action) {
  const isAbout = ({ Action }) => [Action].flat().some((one) => one === action || one.includes('*'))
  return { ...policy, Statement: policy.Statement.filter(isAbout) }
}

async function judge(whole, { action, resource, keys }) {
  const policy = about(whole, action)
  const answer = await runSimulation(
    {
      request: {
        action,
        principal: `arn:aws:sts::${ACCOUNT}:assumed-role/host/i-0`,
        resource: { resource, accountId: ACCOUNT },
        contextVariables: keys,
      },
      identityPolicies: [{ name: 'policy', policy }],
      serviceControlPolicies: [],
      resourceControlPolicies: [],
      ...(action.startsWith('kms:') ? { resourcePolicy: KEY_POLICY } : {}),
    },
    {},
  )
  if (answer.resultType === 'error') return { error: JSON.stringify(answer.errors) }
  if (answer.overallResult !== 'Allowed') return { sid: null }
  const results = answer.resultType === 'single' ? [answer.result] : answer.results
  const allowing = results.flatMap((one) => one.analysis.identityAnalysis.allowStatements)
  const sids = new Set(allowing.map(({ statement }) => statement.sid()))
  return { sid: policy.Statement.map(({ Sid }) => Sid).find((sid) => sids.has(sid)) }
}

async function answer(request) {
  const chunks = []
  for await (const chunk of request) chunks.push(chunk)
  const { policy, needs } = JSON.parse(Buffer.concat(chunks).toString())
  return Promise.all(needs.map((need) => judge(policy, need)))
}

const server = createServer((request, response) => {
  answer(request).then(
    (answers) => response.end(JSON.stringify(answers)),
    (error) => response.writeHead(500).end(String(error)),
  )
})
server.keepAliveTimeout = 60_000
server.listen(0, '127.0.0.1', () => console.log(server.address().port))
process.stdin.resume().on('end', () => process.exit(0))
