# Leaks one connection a way: `ledger.rb WAY PORT`. The comment "opened here" names the method to be named.
require "socket"
require "net/http"

WAY, PORT = ARGV[0], ARGV[1].to_i
$kept = []

def open_ledger
  $kept << TCPSocket.new("127.0.0.1", PORT) # opened here: open_ledger
end

def open_socket
  $kept << Socket.tcp("127.0.0.1", PORT) # opened here: open_socket
end

def open_each
  [PORT].each do |port|
    $kept << TCPSocket.new("127.0.0.1", port) # opened here: block in open_each
  end
end

class Ledger
  def self.open
    $kept << TCPSocket.new("127.0.0.1", PORT) # opened here: open
  end

  define_method(:defined) do
    $kept << TCPSocket.new("127.0.0.1", PORT) # opened here: block in <class:Ledger>
  end
end

def open_forked
  fork do
    $kept << TCPSocket.new("127.0.0.1", PORT) # opened here: block in open_forked
    sleep
  end
end

def open_hot(nth)
  $kept << TCPSocket.new("127.0.0.1", PORT) if nth == 500 # opened here: open_hot
end

def serve
  listener = TCPServer.new("127.0.0.1", PORT)
  loop { $kept << listener.accept } # opened here: block in serve
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
when "socket" then open_socket
when "block" then open_each
when "class_method" then Ledger.open
when "define_method" then Ledger.new.defined
when "fork" then open_forked
when "hot" then (0..500).each { |nth| open_hot(nth) }
when "fiber" then Fiber.new { open_ledger }.resume
end
sleep
