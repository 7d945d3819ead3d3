# A Rack application that takes for ever.
$stdout.sync = true
run lambda { |_environment|
  puts "working"
  sleep
}
