# Gives back each request as the application saw it, and counts: for puma in single mode.
#
# `/count` is answered with how many requests came before, itself left out. Rack joins repeated fields.
require "digest"
require "json"

count = 0
lock = Mutex.new
answer = lambda do |value|
  body = JSON.generate(value)
  [200, { "content-type" => "application/json", "content-length" => body.bytesize.to_s }, [body]]
end

run(lambda do |env|
  next answer.call(count) if env["PATH_INFO"] == "/count"

  lock.synchronize { count += 1 }
  length, digest = 0, Digest::SHA256.new
  while (part = env["rack.input"].read(65_536))
    length += part.bytesize
    digest << part
  end
  fields = env.select { |name, _| name.start_with?("HTTP_") }.map { |name, value| [name[5..].tr("_", "-").downcase, value.b.force_encoding("ISO-8859-1").encode("UTF-8")] }
  answer.call({ method: env["REQUEST_METHOD"], target: env["REQUEST_URI"], fields: fields, length: length, sha256: digest.hexdigest })
end)
