
end
return work({unpack(KEYS, 2)}, {unpack(ARGV, 4)})
