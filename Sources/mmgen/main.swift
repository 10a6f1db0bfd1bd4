print("mmgen")
