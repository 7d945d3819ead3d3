# Leaks a connection that the shell itself makes: `bash ledger.sh WAY PORT`.
exec 7<>"/dev/tcp/127.0.0.1/$2"
# What waits has no descriptor of it.
sleep 600 7>&-
