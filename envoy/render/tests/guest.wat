;; Speaks for the filter in tests of the bootstrap: it copies the request header `say-cluster` to `x-shunt-cluster` and
;; `say-profile` to `x-shunt-profile`, and decides nothing.
(module
  (import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_replace_header_map_value" (func $replace (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 16) "say-cluster")
  (data (i32.const 32) "say-profile")
  (data (i32.const 48) "x-shunt-cluster")
  (data (i32.const 64) "x-shunt-profile")
  (global $free (mut i32) (i32.const 1024))

  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_context_create") (param i32 i32))

  ;; What is allocated lives until the next request.
  (func (export "malloc") (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $free))
    (global.set $free (i32.add (global.get $free) (local.get $size)))
    (local.get $at))

  ;; Copies the request header named by 11 bytes at $from to the one named by 15 bytes at $to.
  (func $copy (param $from i32) (param $to i32)
    (if (i32.eqz (call $get (i32.const 0) (local.get $from) (i32.const 11) (i32.const 0) (i32.const 4)))
      (then (drop (call $replace (i32.const 0) (local.get $to) (i32.const 15)
        (i32.load (i32.const 0)) (i32.load (i32.const 4)))))))

  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (global.set $free (i32.const 1024))
    (call $copy (i32.const 16) (i32.const 48))
    (call $copy (i32.const 32) (i32.const 64))
    (i32.const 0)))
