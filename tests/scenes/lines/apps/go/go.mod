module example.com/ledger

go 1.19

require example.com/pool v1.0.0
