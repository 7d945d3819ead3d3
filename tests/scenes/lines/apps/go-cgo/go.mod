module example.com/ledgercgo

go 1.19
