// A page, an API, a form, a stream of events and a WebSocket, with Express. Listens at PORT of HOST (127.0.0.1), or
// at the socket SOCKET.
'use strict'

const crypto = require('crypto')
const express = require('express')
const { WebSocketServer } = require('ws')

const app = express()
// Express believes X-Forwarded-* of this machine, where spothost makes them itself.
app.set('trust proxy', 'loopback')

app.get('/api/seen', (request, response) => {
  response.json({ url: `${request.protocol}://${request.host}${request.originalUrl}`, address: request.ip, secure: request.secure })
})

app.post('/api/form', express.urlencoded({ extended: false }), (request, response) => {
  // A form of another site has another origin.
  if (request.get('origin') !== `${request.protocol}://${request.host}`) return response.status(403).json({ error: 'origin' })
  response.cookie('word', request.body.word, { secure: true, httpOnly: true, sameSite: 'lax' }).json({ word: request.body.word })
})

app.put('/api/content', (request, response, next) => {
  let length = 0
  const digest = crypto.createHash('sha256')
  request.on('data', part => {
    length += part.length
    digest.update(part)
  })
  request.on('end', () => response.json({ length, sha256: digest.digest('hex') }))
  request.on('error', next)
})

app.get('/api/events', (_request, response) => {
  response.set({ 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' })
  let number = 0
  const send = () => response.write(`id: ${number}\ndata: event ${number++}\n\n`)
  send()
  const timer = setInterval(send, 1000)
  response.on('close', () => clearInterval(timer))
})

const { SOCKET, PORT, HOST = '127.0.0.1' } = process.env
const server = app.listen(SOCKET ? { path: SOCKET } : { port: PORT, host: HOST })
new WebSocketServer({ server, path: '/api/socket' }).on('connection', socket => {
  // A client that breaks the rules is closed by then.
  socket.on('error', () => {})
  socket.on('message', (data, binary) => socket.send(data, { binary }))
})
