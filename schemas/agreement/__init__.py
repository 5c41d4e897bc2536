"""What is agreed: who gives (agency), who takes (subscriber), under which grant, and what ends; and who this mesh is to others."""
