# Leaks one connection a way: `ledger.rb WAY PORT`. The comment "opened here" names the method to be named.
require "socket"
require "net/http"

WAY, PORT = ARGV[0], ARGV[1].to_i
$kept = []

def open_ledger
  $kept << TCPSocket.new("127.0.0.1", PORT) # opened here: open_ledger
end

def serve
  listener = TCPServer.new("127.0.0.1", PORT)
  loop { $kept << listener.accept } # opened here: serve
end

def fetch
  http = Net::HTTP.new("127.0.0.1", PORT)
  $kept << http.start # opened here: fetch
  http.get("/")
end

case WAY
when "connect" then open_ledger
when "thread" then Thread.new { open_ledger }.join
when "accept" then serve
when "http" then fetch
when "fiber" then Fiber.new { open_ledger }.resume
end
sleep
