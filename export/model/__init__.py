"""The policy in torch: the plain fp32 reference that every engine is compared with.

Files in the order of the data: images, fastvit, connector, rope, decoder, expert, flow, policy.
The modules are named so that the keys of ``DynamicVla.state_dict()`` are the official ones.
"""
