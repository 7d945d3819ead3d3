-- Leaks one connection a way: `ledger.lua WAY PORT`. The comment "opened here" names the function to be named.
local socket = require("socket")
local way, port = arg[1], tonumber(arg[2])
local kept = {}

local function open_ledger()
  kept[1] = assert(socket.connect("127.0.0.1", port)) -- opened here: open_ledger
end

local function serve()
  local listener = assert(socket.bind("127.0.0.1", port))
  while true do
    kept[#kept + 1] = listener:accept() -- opened here: serve
  end
end

if way == "connect" then open_ledger() else serve() end
socket.sleep(600)
