//! The server as its clients see it, over real sockets, and the packages it takes and refuses.

mod alike;
mod client;
mod conditional;
mod content;
mod drain;
mod drawn;
mod floods;
mod frames;
mod gate;
mod host;
mod http2;
mod listed;
mod package;
mod packages;
mod pages;
mod ports;
mod protocols;
mod rest;
mod rules;
mod server;
mod skew;
mod slow;
mod strict;
mod zips;
