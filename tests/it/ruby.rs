//! Lines of code of Ruby, whose frames are read at the call: of methods and blocks, of threads, fibers and forked workers, and of
//! the application below gems and the standard library. `cargo xtask test --real` has more ways.

use std::net::{Ipv4Addr, TcpListener};

use serde_json::Value;

use crate::support::compare::Comparison;
use crate::support::shop::{Shop, opener};
use crate::support::tracer::Tracer;

live_tests! {
    the_line_of_ruby_that_opened_a_socket_is_the_applications_own,
    the_line_of_ruby_that_accepted_a_socket_is_the_applications_own,
    what_a_thread_of_a_gem_opened_is_the_gems,
}

const RUBY: &str = "/usr/bin/ruby";

/// What opens a socket: the way, the function, one that it called or that led to it, and where the stack begins.
const WAYS: [(&str, &str, &str, &str); 12] = [
    ("method", "open", "nested", "<main> (shop.rb:"),
    ("class_method", "dial", "dial", "<main> (shop.rb:"),
    ("block", "block in each_port", "each_port", "<main> (shop.rb:"),
    ("define_method", "block in <class:Ledger>", "<main>", "<main> (shop.rb:"),
    ("main", "<main>", "<main>", "<main> (shop.rb:"),
    ("required", "<top (required)>", "<main>", "<main> (shop.rb:"),
    ("rescued", "rescue in rescued", "rescued", "<main> (shop.rb:"),
    ("thread", "block in thread", "block in thread", "block in thread (shop.rb:"),
    ("fiber", "block in fiber", "block in fiber", "block in fiber (shop.rb:"),
    ("forked", "block in forked", "forked", "<main> (shop.rb:"),
    ("library", "fetch", "connect", "<main> (shop.rb:"),
    ("gem", "refund", "dial", "<main> (shop.rb:"),
];

/// The comments name the ways.
const SHOP: &str = r"
require 'socket'
require 'net/http'
$LOAD_PATH.unshift File.join(__dir__, 'vendor/bundle/ruby/3.1.0/gems/acme-client-1.2.0/lib')
require 'acme/client'

WAY, PORT = ARGV[0], ARGV[1].to_i
$kept = []

class Ledger
  def self.dial
    $kept << Socket.tcp('127.0.0.1', PORT) # opened here: class_method
  end

  def open
    $kept <<
      TCPSocket.new('127.0.0.1', PORT) # opened here: method
  end

  define_method(:defined) do
    $kept << TCPSocket.open('127.0.0.1', PORT) # opened here: define_method
  end
end

def nested
  Ledger.new.open
end

def each_port
  [PORT].each do |port|
    $kept << TCPSocket.new('127.0.0.1', port) # opened here: block
  end
end

def rescued
  raise ArgumentError
rescue ArgumentError
  $kept << TCPSocket.new('127.0.0.1', PORT) # opened here: rescued
end

def thread
  Thread.new do
    $kept << TCPSocket.new('127.0.0.1', PORT) # opened here: thread
  end.join
end

def fiber
  $kept << Fiber.new do
    $kept << TCPSocket.new('127.0.0.1', PORT) # opened here: fiber
  end.tap(&:resume)
end

def forked
  fork do
    $kept << TCPSocket.new('127.0.0.1', PORT) # opened here: forked
    $stdin.read
  end
end

def fetch
  $kept << Net::HTTP.start('127.0.0.1', PORT) # opened here: library
end

def refund
  $kept << Acme::Client.new.call(PORT) # opened here: gem
end

case WAY
when 'method' then nested
when 'class_method' then Ledger.dial
when 'block' then each_port
when 'define_method' then Ledger.new.defined
when 'main'
  $kept << TCPSocket.new('127.0.0.1', PORT) # opened here: main
when 'rescued' then rescued
when 'thread' then thread
when 'fiber' then fiber
when 'forked' then forked
when 'library' then fetch
when 'gem' then refund
else require_relative WAY
end
$stdin.read
";

const REQUIRED: &str = "\
# Code outside of methods.
$kept << TCPSocket.new('127.0.0.1', PORT) # opened here: required
";

const SERVE: &str = "\
def serve(listener)
  listener.accept # opened here: accept
end

listener = TCPServer.new('127.0.0.1', PORT)
$stdout.puts 'listening'
$stdout.flush
$kept << serve(listener)
";

const REACTOR: &str = "\
Acme::Client.new.start(PORT)
";

const GEM: &str = r"
module Acme
  class Client
    def call(port)
      dial(port)
    end

    def start(port)
      Thread.new { $kept << dial(port) }
    end

    private

    def dial(port)
      TCPSocket.new('127.0.0.1', port)
    end
  end
end
";

/// The files of the shop, with its gem where Bundler would have installed it.
const FILES: [(&str, &str); 5] = [
    ("shop.rb", SHOP),
    ("required.rb", REQUIRED),
    ("accept.rb", SERVE),
    ("reactor.rb", REACTOR),
    ("vendor/bundle/ruby/3.1.0/gems/acme-client-1.2.0/lib/acme/client.rb", GEM),
];

fn the_line_of_ruby_that_opened_a_socket_is_the_applications_own() {
    let shop = Shop::new(RUBY, &FILES);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let tracer = Tracer::start_plain(&["leaks", "--older-than", "1s", "--rport", &port]);
    let mut comparison = Comparison::of("the lines of Ruby");
    for (way, function, other, outermost) in WAYS {
        let (_process, _output) = shop.start(way, &port);
        let (accepted, peer) = listener.accept().unwrap();
        drop(accepted);
        let opened = opener(&tracer, way, "lport", peer.port());
        let site = format!("{function}{}", shop.place(way));
        comparison.holds(opened["site"] == site, || format!("{way}: not {site} but {opened:#}"));
        let lines = || opened["stack"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let is_there = lines().any(|line| line.starts_with(other));
        comparison.holds(is_there, || format!("{way}: no {other} in {opened:#}"));
        let last = lines().rfind(|line| line.contains(".rb:"));
        let is_whole = last.is_some_and(|last| last.starts_with(outermost));
        comparison.holds(is_whole, || format!("{way}: where it began is not in {opened:#}"));
        let found_by = &opened["found_by"];
        let callers = found_by["callers"].as_array().into_iter().flatten();
        let is_by_ruby = found_by["name"] == "ruby" && callers.into_iter().any(|by| by == "ruby");
        comparison.holds(is_by_ruby, || format!("{way}: found by {found_by}"));
    }
    tracer.stop().summary();
    comparison.finish(&[]);
}

fn the_line_of_ruby_that_accepted_a_socket_is_the_applications_own() {
    Shop::new(RUBY, &FILES).is_told_by_the_line_that_accepts();
}

fn what_a_thread_of_a_gem_opened_is_the_gems() {
    let shop = Shop::new(RUBY, &FILES);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let tracer = Tracer::start_plain(&["leaks", "--older-than", "1s", "--rport", &port]);
    let (_process, _output) = shop.start("reactor", &port);
    let (accepted, peer) = listener.accept().unwrap();
    drop(accepted);
    let opened = opener(&tracer, "reactor", "lport", peer.port());
    assert!(opened["site"].is_null(), "{opened:#}");
    assert_eq!(opened["no_site"]["because"], "library_thread", "{opened:#}");
    assert_eq!(opened["no_site"]["of"], "acme-client-1.2.0", "{opened:#}");
    tracer.stop().summary();
}
