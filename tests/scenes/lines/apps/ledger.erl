%% Leaks one connection a way: `escript ledger.erl WAY PORT`. The comment "opened here" names the function to be named.
-module(ledger).
-export([main/1]).

main([Way, Port]) ->
    run(Way, list_to_integer(Port)),
    timer:sleep(600000).

run("connect", Port) -> open_ledger(Port);
run("process", Port) -> spawn_link(fun() -> open_ledger(Port), timer:sleep(600000) end);
run("accept", Port) -> serve(Port).

open_ledger(Port) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [{active, false}]), % opened here: open_ledger
    put(kept, Socket).

serve(Port) ->
    {ok, Listener} = gen_tcp:listen(Port, [{active, false}, {ip, {127, 0, 0, 1}}, {reuseaddr, true}]),
    {ok, Socket} = gen_tcp:accept(Listener), % opened here: serve
    put(kept, Socket).
