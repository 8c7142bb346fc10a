// Gives back each request as the application saw it, and counts; listens at PORT of HOST.
//
// `/count` is answered with how many requests came before, itself left out.
'use strict'

const crypto = require('crypto')
const http = require('http')

let count = 0

function answer (response, value) {
  const body = JSON.stringify(value)
  response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) }).end(body)
}

http.createServer((request, response) => {
  if (request.url === '/count') return answer(response, count)
  count++
  let length = 0
  const digest = crypto.createHash('sha256')
  request.on('data', part => {
    length += part.length
    digest.update(part)
  })
  request.on('end', () => {
    const fields = []
    for (let at = 0; at < request.rawHeaders.length; at += 2) fields.push(request.rawHeaders.slice(at, at + 2))
    answer(response, { method: request.method, target: request.url, fields, length, sha256: digest.digest('hex') })
  })
}).listen(process.env.PORT, process.env.HOST)
