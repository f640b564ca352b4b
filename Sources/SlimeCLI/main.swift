print("slime")
